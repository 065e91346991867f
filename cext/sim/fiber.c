/* SPDX-License-Identifier: MIT */
/*
 * What the calling convention says must survive a call is pushed, the stack
 * pointers are exchanged, and it is popped again. Elsewhere than on x86-64 and
 * AArch64 there is no switch, and so no simulation.
 */
#include "fiber.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

void fiber_swap(void **save, void *load);
void fiber_enter(void);

#if defined(__x86_64__)
#define SAVED_WORDS 7U /* rbp rbx r12 r13 r14 r15 and where to go */
__asm__(".text\n"
	".globl fiber_swap\n"
	".type fiber_swap, @function\n"
	"fiber_swap:\n"
	"	pushq %rbp\n"
	"	pushq %rbx\n"
	"	pushq %r12\n"
	"	pushq %r13\n"
	"	pushq %r14\n"
	"	pushq %r15\n"
	"	movq %rsp, (%rdi)\n"
	"	movq %rsi, %rsp\n"
	"	popq %r15\n"
	"	popq %r14\n"
	"	popq %r13\n"
	"	popq %r12\n"
	"	popq %rbx\n"
	"	popq %rbp\n"
	"	ret\n"
	".size fiber_swap, .-fiber_swap\n"
	/* Begun with the fiber in r12, on a stack aligned as a call leaves it. */
	".globl fiber_enter\n"
	".type fiber_enter, @function\n"
	"fiber_enter:\n"
	"	movq %r12, %rdi\n"
	"	call fiber_begin\n"
	"	ud2\n"
	".size fiber_enter, .-fiber_enter\n");
#define WORD_OF_FIBER 3U /* r12, counted from the saved stack pointer */
#define WORD_OF_RETURN 6U
#elif defined(__aarch64__)
#define SAVED_WORDS 20U /* x19 … x30, d8 … d15 */
__asm__(".text\n"
	".globl fiber_swap\n"
	".type fiber_swap, %function\n"
	"fiber_swap:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp, #0]\n"
	"	stp x21, x22, [sp, #16]\n"
	"	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n"
	"	stp x27, x28, [sp, #64]\n"
	"	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n"
	"	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n"
	"	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n"
	"	str x9, [x0]\n"
	"	mov sp, x1\n"
	"	ldp x19, x20, [sp, #0]\n"
	"	ldp x21, x22, [sp, #16]\n"
	"	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n"
	"	ldp x27, x28, [sp, #64]\n"
	"	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n"
	"	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n"
	"	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n"
	"	ret\n"
	".size fiber_swap, .-fiber_swap\n"
	".globl fiber_enter\n"
	".type fiber_enter, %function\n"
	"fiber_enter:\n"
	"	mov x0, x19\n"
	"	bl fiber_begin\n"
	"	brk #0\n"
	".size fiber_enter, .-fiber_enter\n");
#define WORD_OF_FIBER 0U
#define WORD_OF_RETURN 11U
#else
#error "the simulation needs a context switch for this machine: see fiber.c"
#endif

__attribute__((used, noreturn)) static void begin(struct fiber *fiber) __asm__("fiber_begin");

static void begin(struct fiber *fiber)
{
	fiber->entry(fiber->argument);
	__builtin_trap();
}

int fiber_make(struct fiber *fiber)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	unsigned char *memory = mmap(NULL, FIBER_STACK + page, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return -ENOMEM;
	if (mprotect(memory, page, PROT_NONE)) {
		munmap(memory, FIBER_STACK + page);
		return -ENOMEM;
	}
	fiber->stack = memory + page;
	return 0;
}

void fiber_free(struct fiber *fiber)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (fiber->stack)
		munmap(fiber->stack - page, FIBER_STACK + page);
	fiber->stack = NULL;
}

void fiber_start(struct fiber *fiber, void (*entry)(void *argument), void *argument)
{
	/* The top stays a multiple of 16; fiber_enter() calls, and so aligns what it calls. */
	uintptr_t *words = (uintptr_t *)(void *)(fiber->stack + FIBER_STACK) - 2U - SAVED_WORDS;

	if ((uintptr_t)(words + SAVED_WORDS) % 16)
		words--;
	for (unsigned int i = 0; i < SAVED_WORDS; i++)
		words[i] = 0;
	words[WORD_OF_FIBER] = (uintptr_t)fiber;
	words[WORD_OF_RETURN] = (uintptr_t)fiber_enter;
	fiber->stack_pointer = words;
	fiber->entry = entry;
	fiber->argument = argument;
}

void fiber_switch(struct fiber *from, struct fiber *to)
{
	fiber_swap(&from->stack_pointer, to->stack_pointer);
}

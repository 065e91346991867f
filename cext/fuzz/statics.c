/* SPDX-License-Identifier: MIT */
/*
 * Which sections of a library hold its data is told by its file. What a compiler
 * put there for its own purposes (counters of coverage, tables of a sanitizer) is
 * left alone: that must go on from program to program.
 *
 * Its calls of malloc() and the like are led here by the table through which it
 * calls other libraries: so only what it asks for itself is noted, and not what
 * the C library keeps on its behalf.
 */
#define _GNU_SOURCE /* dladdr1, dlinfo */
#include "statics.h"
#include "ondemand/kept.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTED_MAX 4096U

static struct kept kept;
static void *noted[NOTED_MAX]; /* allocated and not freed; what finds no room here is left */
static uint32_t noted_count;

/* ---- what it allocates ------------------------------------------------------------- */

static void *note(void *memory)
{
	if (memory && noted_count < NOTED_MAX)
		noted[noted_count++] = memory;
	return memory;
}

/* The newest first: that is freed first, as a rule. */
static void forget(const void *memory)
{
	for (uint32_t at = noted_count; at-- > 0;) {
		if (noted[at] == memory) {
			noted[at] = noted[--noted_count];
			return;
		}
	}
}

static void *noting_malloc(size_t size)
{
	return note(malloc(size));
}

static void *noting_calloc(size_t count, size_t size)
{
	return note(calloc(count, size));
}

static void *noting_realloc(void *old, size_t size)
{
	void *memory;

	forget(old);
	memory = realloc(old, size);
	if (!memory && size)
		note(old);
	return note(memory);
}

static void *noting_aligned_alloc(size_t alignment, size_t size)
{
	return note(aligned_alloc(alignment, size));
}

static int noting_posix_memalign(void **memory, size_t alignment, size_t size)
{
	int error = posix_memalign(memory, alignment, size);

	if (!error)
		note(*memory);
	return error;
}

static char *noting_strdup(const char *text)
{
	return note(strdup(text));
}

static void noting_free(void *memory)
{
	forget(memory);
	free(memory);
}

static const struct {
	const char *name;
	void (*ours)(void);
} led[] = {
	{"malloc", (void (*)(void))noting_malloc},
	{"calloc", (void (*)(void))noting_calloc},
	{"realloc", (void (*)(void))noting_realloc},
	{"aligned_alloc", (void (*)(void))noting_aligned_alloc},
	{"posix_memalign", (void (*)(void))noting_posix_memalign},
	{"strdup", (void (*)(void))noting_strdup},
	{"free", (void (*)(void))noting_free},
};

/* A word of the table may lie in a page that was made read only after loading. */
static void set_word(void **word, void (*to)(void))
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	void *start = (void *)((uintptr_t)word & ~(page - 1));

	if (mprotect(start, page, PROT_READ | PROT_WRITE) == 0)
		memcpy(word, &to, sizeof(to));
}

static void lead(const struct link_map *map, const ElfW(Rela) * table, size_t size,
		 const ElfW(Sym) * symbols, const char *names)
{
	for (size_t i = 0; table && i < size / sizeof(*table); i++) {
		const char *name = names + symbols[ELF64_R_SYM(table[i].r_info)].st_name;
		void **word = (void **)(map->l_addr + table[i].r_offset);

		for (size_t k = 0; k < sizeof(led) / sizeof(led[0]); k++) {
			if (strcmp(name, led[k].name) == 0 &&
			    *word == dlsym(RTLD_DEFAULT, led[k].name))
				set_word(word, led[k].ours);
		}
	}
}

static void lead_allocations(const struct link_map *map)
{
	const ElfW(Rela) *calls = NULL, *others = NULL;
	const ElfW(Sym) *symbols = NULL;
	size_t calls_size = 0, others_size = 0;
	const char *names = NULL;

	for (const ElfW(Dyn) *entry = map->l_ld; entry->d_tag != DT_NULL; entry++) {
		if (entry->d_tag == DT_SYMTAB)
			symbols = (const void *)entry->d_un.d_ptr;
		else if (entry->d_tag == DT_STRTAB)
			names = (const void *)entry->d_un.d_ptr;
		else if (entry->d_tag == DT_JMPREL)
			calls = (const void *)entry->d_un.d_ptr;
		else if (entry->d_tag == DT_PLTRELSZ)
			calls_size = entry->d_un.d_val;
		else if (entry->d_tag == DT_RELA)
			others = (const void *)entry->d_un.d_ptr;
		else if (entry->d_tag == DT_RELASZ)
			others_size = entry->d_un.d_val;
		else if (entry->d_tag == DT_PLTREL && entry->d_un.d_val != DT_RELA)
			return; /* a machine of another kind: what it allocates is not noted */
	}
	if (!symbols || !names)
		return;
	lead(map, calls, calls_size, symbols, names);
	lead(map, others, others_size, symbols, names);
}

/* ---- its data ------------------------------------------------------------------------ */

static bool is_its_own(const ElfW(Shdr) * section, const char *name)
{
	static const char *const others[] = {
		"__sancov", "__llvm", "__afl", "asan_", ".got", ".data.rel.ro", ".tm_clone",
	};

	if ((section->sh_flags & (SHF_ALLOC | SHF_WRITE | SHF_TLS)) != (SHF_ALLOC | SHF_WRITE) ||
	    (section->sh_type != SHT_PROGBITS && section->sh_type != SHT_NOBITS))
		return false;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (strncmp(name, others[i], strlen(others[i])) == 0)
			return false;
	}
	return true;
}

static void keep_sections(const struct link_map *map, const uint8_t *file, size_t size)
{
	const ElfW(Ehdr) *header = (const void *)file;
	const ElfW(Shdr) * sections;
	const char *names;

	if (size < sizeof(*header) || header->e_shentsize != sizeof(*sections) ||
	    header->e_shoff > size ||
	    header->e_shnum > (size - header->e_shoff) / sizeof(*sections) ||
	    header->e_shstrndx >= header->e_shnum)
		return;
	sections = (const void *)(file + header->e_shoff);
	names = (const char *)file + sections[header->e_shstrndx].sh_offset;
	for (uint32_t i = 0; i < header->e_shnum; i++) {
		if (is_its_own(&sections[i], names + sections[i].sh_name))
			kept_add(&kept, (void *)(map->l_addr + sections[i].sh_addr),
				 sections[i].sh_size);
	}
}

static void keep_data(const struct link_map *map)
{
	int fd = open(map->l_name, O_RDONLY | O_CLOEXEC);
	struct stat status;
	void *file;

	if (fd < 0)
		return;
	if (fstat(fd, &status) == 0 && status.st_size > 0) {
		file = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
		if (file != MAP_FAILED) {
			keep_sections(map, file, (size_t)status.st_size);
			munmap(file, (size_t)status.st_size);
		}
	}
	close(fd);
}

struct thread_local_data {
	ElfW(Addr) base; /* of the library */
	size_t size;
};

static int find_thread_locals(struct dl_phdr_info *info, size_t size, void *context)
{
	struct thread_local_data *found = context;

	(void)size;
	if (info->dlpi_addr != found->base)
		return 0;
	for (uint32_t i = 0; i < info->dlpi_phnum; i++) {
		if (info->dlpi_phdr[i].p_type == PT_TLS)
			found->size = info->dlpi_phdr[i].p_memsz;
	}
	return 1;
}

/* Made for this thread when somebody asks for it first. */
struct tls_index {
	unsigned long module, offset;
};
extern void *__tls_get_addr(struct tls_index *index);

static void keep_thread_locals(const struct link_map *map)
{
	struct thread_local_data found = {.base = map->l_addr};
	void *library = dlopen(map->l_name, RTLD_NOW | RTLD_NOLOAD);
	size_t module = 0;

	dl_iterate_phdr(find_thread_locals, &found);
	if (library && found.size && dlinfo(library, RTLD_DI_TLS_MODID, &module) == 0 && module)
		kept_add(&kept, __tls_get_addr(&(struct tls_index){.module = module}), found.size);
	if (library)
		dlclose(library);
}

/* ---- both ------------------------------------------------------------------------------ */

void statics_keep(const void *symbol)
{
	struct link_map *map = NULL;
	Dl_info info;

	if (!dladdr1(symbol, &info, (void **)&map, RTLD_DL_LINKMAP) || !map || !map->l_name[0])
		return;
	lead_allocations(map);
	keep_data(map);
	keep_thread_locals(map);
}

void statics_put_back(void)
{
	kept_put_back(&kept);
	while (noted_count)
		free(noted[--noted_count]);
}

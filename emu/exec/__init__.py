"""``zcrx-emu exec``: a program as it is, with this project as its kernel.

``gateway`` starts the C program that answers the program's calls and passes on what it says,
``findings`` is what came of it, in words and for programs, ``cli`` the command.
"""

"""How fast the emulator is, beside what else could be used in its place.

Run ``python -m tools.bench`` from the top of a checkout. All is measured in the same
run, in turns, because machines drift: a figure means something only beside its peers.

``yardstick``  what is measured, and the registry that names it
``peers``      the yardsticks: bare rings and loops, memcpy, DPDK, Python by hand
``ours``       the emulator's own figures, where the file exists
``programs``   builds and runs the C programs beside this file
``rounds``     runs all in turns; ``report`` shows the outcome; ``machine`` names the place
"""

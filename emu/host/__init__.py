"""This machine and this process: signals, standard streams, descriptors, files, ``/proc``."""

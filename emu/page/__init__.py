"""Reports as pages: one file each, which opens without a network.

Made from the JSON that commands write, and from nothing else: so that a run's page can be made by
whoever has its folder, whenever that is.
"""

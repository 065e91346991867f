"""Campaigns: thousands of calls of the other commands, by a plan, on many workers.

``plan``       a plan's file, and the pieces that it comes to
``kinds``      what a campaign knows of the commands
``result``     what came of a piece, as a value of bounded size
``minder``     the process above a piece: nothing of it is left when it ends, or its worker
``worker``     what Dask calls on a worker
``pool``       Dask, on this machine or elsewhere
``store``      what was done, in SQLite
``artifacts``  files of findings and corpora, wherever fsspec can put them
``drive``      a campaign from its first piece to its last
``summary``    what it came to
"""

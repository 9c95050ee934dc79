"""Tables that are read a block at a time: of more rows than memory should hold.

source    `source_of`, which knows such a table, and `Source`, its blocks and its checks
pieces    where its rows come from: files, dask, Arrow, a user's iterable
joining   pieces of one container, cut, joined and taken from
"""

"""The leaderboard: a static site from run folders.

check      what a stranger's run may not hold
results    one run: its setting, and its points
method     the method behind a defense whose name does not say it
missing    planned attacks that left no record
row        a point at an access level: what a table shows of it
sharing    rows of one release that several runs hold, joined
ranking    the order of the rows of a track
tracks     rows by data set, network, condition, access level and set of attacks
charts     plots, as Vega-Lite
pages      facts of the pages about tracks and attacks; defense has those about a defense
build      writes the site
"""

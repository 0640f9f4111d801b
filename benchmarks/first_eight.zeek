# The first eight packets of each connection and no blocks: what models of first bytes need.
@load ../zeek-scripts/main
redef MTC::blocks = F;
@load ../zeek-scripts

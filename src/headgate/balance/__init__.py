"""Which server: algorithms, the roster of servers, persistence, the queue. Pure: hashes and random numbers are arguments."""

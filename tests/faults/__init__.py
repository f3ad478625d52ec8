"""The client under faults: a scripted server, one table of scenarios, and the functions that run them."""

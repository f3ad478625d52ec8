"""The client under faults: a server that misbehaves by script, one table of scenarios, and who drives them."""

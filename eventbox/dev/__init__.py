"""`eventbox dev`: a worker on this machine, with both emulators, its app under uvicorn, and the sweeper."""

print("natfleet-agent")

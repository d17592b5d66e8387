print("natfleet")

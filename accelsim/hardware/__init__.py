"""What computes: devices as frozen, validated values, their energy tables, and the files they come from."""

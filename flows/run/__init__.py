"""What every run shares: how it begins and ends, what it shows in the UI, and how it looks other runs up."""

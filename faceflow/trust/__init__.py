"""What makes a swap defensible: consent now; content gate, credentials, watermark and detect with the trust stage."""

"""Candidate engines: N responses a prompt, with their log-likelihoods."""

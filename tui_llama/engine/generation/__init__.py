"""Generation of one reply: sampling, drafts, stop texts, and idle prefill."""

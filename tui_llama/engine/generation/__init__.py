"""Generation of one reply: sampling, speculation, stop texts, the loop guard, and idle prefill."""

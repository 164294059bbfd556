"""One reply: sampling, drafts, stop texts, and prefill while nobody waits."""

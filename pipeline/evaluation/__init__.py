"""The evaluation verbs: a tokenizer or generators -> measures, a report, pictures."""

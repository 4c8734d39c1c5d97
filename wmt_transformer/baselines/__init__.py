"""What came before, with the language model's interface: the measure of what attention adds."""

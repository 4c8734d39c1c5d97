"""What a language model reads: texts, cut into documents, packed into windows."""

"""Pages from records: what was measured, drawn and told, without measuring anything again."""

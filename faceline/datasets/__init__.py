"""Labels, tables, cleaning rules, splitting and records; sources and the synthetic sample have folders of their own."""

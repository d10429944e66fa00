"""Interventions at many sites, and what each does to a metric."""

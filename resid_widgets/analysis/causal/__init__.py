"""Mediation, tracing and counterfactuals."""

"""Preference judges: who says which of two responses is better, for RLAIF and RLCD."""

"""Attacks on unlearning: is what was to be forgotten still there?"""

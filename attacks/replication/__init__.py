"""Replication: does the model hand its training images back?"""

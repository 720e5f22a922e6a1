"""Reads the error of a failed connection attempt: may it pass, was the login rejected?"""

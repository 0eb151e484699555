"""Pure deciders: given this state and this event, what would you do?"""

"""Who speaks when: the turns of the people in a recording."""

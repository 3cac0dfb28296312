"""Random and mutated inputs for every reader: does any end in something else than one line?"""

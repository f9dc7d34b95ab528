"""What the agent knows of subscribers and their services. The modules here are pure but for `book` and `importing`.

* `subscribers_csv`: the operator's list, read line by line; `merge`: a list into what is known already.
* `facts`: what billing says of a subscriber, and whether it owes.
* `resolve`: the service that a person means; `mapping_check`: services that the configuration cannot serve.
"""

"""What the agent knows of subscribers and their services. Pure but for `book`, `finding` and `importing`.

* `subscribers_csv`: the operator's list, read line by line; `merge`: a list into what is known already.
* `facts`: what billing says of a subscriber, and whether it owes.
* `finding`: services by any part of what is known of them.
* `resolve`: the service that a person means; `mapping_check`: services that the configuration cannot serve.
"""

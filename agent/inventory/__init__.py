"""The agent's record of subscribers and their services. Pure but for `book`, `finding` and `importing`.

* `subscribers_csv`: the operator's list, read line by line; `merge`: a list into the known services.
* `facts`: billing's facts on a subscriber, and whether it owes.
* `finding`: services by any part of their records.
* `resolve`: the service that a person means; `mapping_check`: services that the configuration cannot serve.
"""

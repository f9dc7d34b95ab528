"""The base of the daemon: clocks, supervision, local HTTP and the log. All I/O here is trio's.

* `clock`: `Clock`, `SystemClock`, `ClockGuard` (a jump of the wall clock halts applying).
* `http`: the server side of HTTP/1.1 on a unix socket; `http_client`: the blocking client of the CLI;
  `unix_socket`: binding, and the user at the other end; `json_text`: strict JSON.
* `supervise`: restarts crashed tasks; the one place that may catch everything.
* `redacting_log`: the only log handler.
"""

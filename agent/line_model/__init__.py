"""The model of lines: what a network device tells of its ports, radios and ONUs, whatever the protocol. Pure.

* `reading`: one whole reading of a device (`DeviceReading`), and a notification of one (`LineEvent`).
* `rates`: rates from the counters of two readings.
* `serials`: one spelling for the serial number of an ONU.

Nothing here knows a connector, a subscriber or a store. Texts are the device's own, and a device
may be a customer's: whoever shows them removes control characters (`agent.cpe_model.presentable`).
"""

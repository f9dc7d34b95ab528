# Suspension designs as whole exports. Of each: whether it keeps its subscriber in, and why; then what differs from
# tests/agent/connectors/routeros/exported_designs.py `Exported`; then the export. `#include` is a block above.

## SITE
/interface list
add name=WAN
add name=LAN
/interface list member
add list=WAN interface=ether1
add list=LAN interface=ether5
/ip address
add address=203.0.113.2/30 interface=ether1
add address=192.0.2.1/24 interface=ether5
/ip route
add dst-address=0.0.0.0/0 gateway=203.0.113.1
/ip pool
add name=homes ranges=100.64.0.2-100.64.3.250
add name=expired ranges=10.5.51.2-10.5.51.250
/ppp profile
add name=home20 local-address=100.64.0.1 remote-address=homes rate-limit=5M/20M
/ppp secret
add name=amina password=x profile=home20 service=pppoe
/interface pppoe-server server
add interface=ether2 service-name=pppoe disabled=no
/user
add name=ispagents password=api-password group=full

## STOCK
/ip firewall filter
add action=accept chain=input comment="defconf: accept established,related,untracked" connection-state=established,related,untracked
add action=drop chain=input comment="defconf: drop invalid" connection-state=invalid
add action=accept chain=input comment="defconf: accept ICMP" protocol=icmp
add action=drop chain=input comment="defconf: drop all not coming from LAN" in-interface-list=!LAN
add action=accept chain=forward comment="defconf: accept in ipsec policy" ipsec-policy=in,ipsec
add action=accept chain=forward comment="defconf: accept out ipsec policy" ipsec-policy=out,ipsec
add action=fasttrack-connection chain=forward comment="defconf: fasttrack" connection-state=established,related
add action=accept chain=forward comment="defconf: accept established,related, untracked" connection-state=established,related,untracked
add action=drop chain=forward comment="defconf: drop invalid" connection-state=invalid
add action=drop chain=forward comment="defconf: drop all from WAN not DSTNATed" connection-nat-state=!dstnat connection-state=new in-interface-list=WAN
/ip firewall nat
add action=masquerade chain=srcnat comment="defconf: masquerade" ipsec-policy=out,none out-interface-list=WAN

## NAT
/ip firewall nat
add action=masquerade chain=srcnat out-interface=ether1

## portal accepted, web dropped, all dropped
# keeps: place accepted, rest dropped
# listed: moroso
/ip firewall filter
add action=accept chain=forward dst-address=198.51.100.10 src-address-list=moroso
add action=drop chain=forward protocol=tcp dst-port=443 src-address-list=moroso
add action=drop chain=forward src-address-list=moroso
#include NAT

## web left to a redirect, TCP and UDP but DNS dropped
# leaks: GRE passes, and port 80 hangs on NAT
# listed: moroso
/ip firewall nat
add action=dst-nat chain=dstnat dst-address=!198.51.100.10 dst-port=80 protocol=tcp src-address-list=moroso to-addresses=198.51.100.10 to-ports=80
/ip firewall filter
add action=drop chain=forward protocol=tcp dst-port=!80 src-address-list=moroso
add action=drop chain=forward protocol=udp dst-port=!53 src-address-list=moroso
#include NAT

## redirect to the portal, and a drop of all but it
# keeps: filter drops all but the portal, whatever NAT does
# listed: MOROSOS
/ip firewall nat
add action=dst-nat chain=dstnat dst-port=80 protocol=tcp src-address-list=MOROSOS to-addresses=198.51.100.10 to-ports=8080
/ip firewall filter
add action=accept chain=forward dst-address-list=WispHub src-address-list=MOROSOS
add action=drop chain=forward src-address-list=MOROSOS
/ip firewall address-list
add address=198.51.100.10 list=WispHub
#include NAT

## DNS, and a drop of all but the portal
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
# listed: MOROSOS
/ip firewall filter
add action=accept chain=forward protocol=udp dst-port=53 src-address-list=MOROSOS
add action=drop chain=forward dst-address=!198.51.100.10 src-address-list=MOROSOS
#include NAT

## drop from the clients' port
# keeps: the address is on the network of that port
# listed: wispro-suspended
/ip firewall filter
add action=drop chain=forward in-interface=ether5 src-address-list=wispro-suspended
#include NAT

## drop from the list of the LAN to that of the uplinks
# keeps: the port is in the one, the only default route leaves by the other
/ip firewall filter
add action=drop chain=forward in-interface-list=LAN out-interface-list=WAN src-address-list=suspended
#include NAT

## a chain with resources and DNS
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
# listed: SpLBL_blocked
/ip firewall filter
add action=jump chain=forward jump-target=splynx-blocked src-address-list=SpLBL_blocked
add action=accept chain=splynx-blocked dst-address-list=splynx-allowed-resources
add action=accept chain=splynx-blocked dst-port=53 protocol=udp
add action=accept chain=splynx-blocked dst-port=53 protocol=tcp
add action=drop chain=splynx-blocked
/ip firewall address-list
add address=198.51.100.20 list=splynx-allowed-resources
#include NAT

## drop but resources, FastTrack for others
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
# listed: SpLBL_new
/ip firewall filter
add action=drop chain=forward dst-address-list=!splynx-allowed-resources src-address-list=SpLBL_new
add action=fasttrack-connection chain=forward connection-state=established,related src-address-list=!SpLBL_new
/ip firewall address-list
add address=198.51.100.20 list=splynx-allowed-resources
#include NAT

## a chain that serves one port of the portal and rejects
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
# listed: BLOCKED_USERS
/ip firewall filter
add action=jump chain=forward jump-target=uisp_suspend src-address-list=BLOCKED_USERS
add action=accept chain=uisp_suspend dst-address=198.51.100.30 dst-port=81,443 protocol=tcp
add action=accept chain=uisp_suspend dst-port=53 protocol=udp
add action=reject chain=uisp_suspend reject-with=icmp-admin-prohibited
/ip firewall nat
add action=dst-nat chain=dstnat dst-port=80 protocol=tcp src-address-list=BLOCKED_USERS to-addresses=198.51.100.30 to-ports=81
#include NAT

## a chain that returns what goes to the portal
# keeps: return from the chain meets the next drop? no: returned packets for the portal only
# listed: delinquent
/ip firewall filter
add action=jump chain=forward jump-target=delinquent src-address-list=delinquent
add action=return chain=delinquent dst-address=198.51.100.40
add action=return chain=delinquent dst-port=53 protocol=udp
add action=drop chain=delinquent
#include NAT

## tarpit of TCP and a drop
# keeps: tarpit only tcp, then drop
# listed: sonar_delinquent
/ip firewall filter
add action=tarpit chain=forward protocol=tcp src-address-list=sonar_delinquent
add action=drop chain=forward src-address-list=sonar_delinquent
#include NAT

## raw drop but portal
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall raw
add action=drop chain=prerouting dst-address-list=!portal src-address-list=suspended
/ip firewall address-list
add list=portal address=198.51.100.10
#include STOCK

## raw drop by client interface list
# keeps: host is in LAN
/ip firewall raw
add action=drop chain=prerouting in-interface-list=LAN src-address-list=suspended dst-address-type=!local
#include NAT

## raw accept established dns then drop
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall raw
add action=accept chain=prerouting src-address-list=suspended dst-port=53 protocol=udp
add action=drop chain=prerouting src-address-list=suspended
#include NAT

## ppp walled pool, drop of the pool
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
# kind: ppp
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired
/ip firewall filter
add action=drop chain=forward src-address=10.5.51.0/24
#include NAT

## ppp profile list and pool
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
# kind: ppp
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired address-list=expired
/ip firewall filter
add action=drop chain=forward src-address-list=expired
#include STOCK

## expired pool, web redirected, portal and DNS accepted
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
# kind: ppp
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired
/ip firewall nat
add action=dst-nat chain=dstnat dst-port=80,443 protocol=tcp src-address=10.5.51.0/24 to-addresses=198.51.100.50 to-ports=80
/ip firewall filter
add action=accept chain=forward src-address=10.5.51.0/24 dst-address=198.51.100.50
add action=accept chain=forward src-address=10.5.51.0/24 protocol=udp dst-port=53
add action=drop chain=forward src-address=10.5.51.0/24
#include NAT

## expired pool without masquerade
# leaks: forwarded with private source
# kind: ppp
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired
/ip firewall nat
add action=masquerade chain=srcnat src-address=!10.5.51.0/24

## ppp interface list SUSPENDED, drop by it
# keeps: session joins the list
# kind: ppp
/interface list
add name=SUSPENDED
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired interface-list=SUSPENDED
/ip firewall filter
add action=drop chain=forward in-interface-list=SUSPENDED
#include NAT

## ppp interface list only, same pool
# keeps: session joins the list
# kind: ppp
/interface list
add name=SUSPENDED
/ppp profile
add name=suspended local-address=100.64.0.1 remote-address=homes interface-list=SUSPENDED
/ip firewall filter
add action=drop chain=forward in-interface-list=SUSPENDED
#include NAT

## ppp interface list, no accept for others
# keeps: whitelist by interface list; all else dropped
# kind: ppp
/interface list
add name=SUSPENDED
add name=PAYING
/ppp profile
set home20 interface-list=PAYING
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired interface-list=SUSPENDED
/ip firewall filter
add action=accept chain=forward in-interface-list=PAYING out-interface-list=WAN
add action=accept chain=forward connection-state=established,related
add action=drop chain=forward out-interface-list=WAN
#include NAT

## ppp incoming-filter chain
# keeps: the login makes a jump to it in chain ppp
# kind: ppp
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired incoming-filter=susp-in outgoing-filter=susp-out
/ip firewall filter
add action=jump chain=forward jump-target=ppp
add action=accept chain=susp-in dst-address=198.51.100.50
add action=drop chain=susp-in
add action=drop chain=susp-out
#include NAT

## ppp filter without jump to ppp
# leaks: chain ppp is never reached
# kind: ppp
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired incoming-filter=susp-in
/ip firewall filter
add action=drop chain=susp-in
#include NAT

## ppp rate-limit 1k
# leaks: slow, not cut
# kind: ppp
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired rate-limit=1k/1k
#include NAT

## ppp all-ppp drop of list toward pppoe wan
# keeps: way out pppoe-out1
# kind: ppp
# unseen: the lab takes the first member of WAN as the uplink
/interface pppoe-client
add name=pppoe-wan interface=ether1 add-default-route=yes disabled=no
/ip route
set [find dst-address=0.0.0.0/0] gateway=pppoe-wan
/interface list member
add list=WAN interface=pppoe-wan
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired address-list=cut
/ip firewall filter
add action=drop chain=forward in-interface=all-ppp out-interface=pppoe-wan src-address-list=cut
#include NAT

## routing rule: unreachable for the pool v7
# keeps: routing rule drops before main table
# kind: ppp
# refused: routing rules are not read
# unseen: the lab has none of it
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired
/routing rule
add src-address=10.5.51.0/24 action=unreachable
#include NAT

## mangle mark-routing to a table of a blackhole
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
# kind: ppp
# refused: routing tables are not followed
# unseen: the lab has none of it
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired address-list=cut
/routing table
add name=nowhere fib
/ip route
add dst-address=0.0.0.0/0 blackhole routing-table=nowhere
/ip firewall mangle
add chain=prerouting action=mark-routing new-routing-mark=nowhere src-address-list=cut passthrough=no
#include NAT

## mangle mark-packet and drop of the mark
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall mangle
add chain=prerouting action=mark-packet new-packet-mark=suspended src-address-list=suspended passthrough=no
/ip firewall filter
add chain=forward action=drop packet-mark=suspended
#include NAT

## mangle mark-connection and drop of the mark
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall mangle
add chain=prerouting action=mark-connection new-connection-mark=cut src-address-list=suspended dst-address-list=!pay
/ip firewall filter
add chain=forward action=drop connection-mark=cut
#include NAT

## queue 1k for list member
# leaks: not cut
/queue simple
add name=susp target=192.0.2.7/32 max-limit=1k/1k
#include NAT

## dst-nat tcp all to page only
# leaks: UDP passes
/ip firewall nat
add action=dst-nat chain=dstnat protocol=tcp src-address-list=suspended to-addresses=198.51.100.10 to-ports=80
#include NAT

## redirect to proxy with drop of rest
# keeps: 80 goes to the router's proxy; filter drops all forward
/ip firewall nat
add action=redirect chain=dstnat dst-port=80 protocol=tcp src-address-list=suspended to-ports=8080
/ip proxy
set enabled=yes port=8080
/ip proxy access
add action=allow dst-host=pay.example.com
add action=deny
/ip firewall filter
add action=drop chain=forward src-address-list=suspended
#include NAT

## bridge filter drop by MAC
# keeps: bridged subscriber: frames dropped
# refused: frames of a bridge meet no rule that is read
# unseen: the lab has none of it
/interface bridge filter
add action=drop chain=forward src-mac-address=02:00:00:00:77:01/FF:FF:FF:FF:FF:FF
#include NAT

## dhcp lease list, defconf rules, drop appended
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
# kind: dhcp
/interface bridge
add name=bridge1
/interface bridge port
add bridge=bridge1 interface=ether5
/ip address
add address=192.168.88.1/24 interface=bridge1
/ip pool
add name=dhcp ranges=192.168.88.10-192.168.88.254
/ip dhcp-server
add name=defconf interface=bridge1 address-pool=dhcp disabled=no
/ip dhcp-server lease
add address=192.168.88.20 mac-address=02:00:00:00:77:01 server=defconf
#include STOCK
/ip firewall filter
add action=drop chain=forward src-address-list=suspended

## dhcp lease list, drop from the server's bridge
# keeps: leases come by their server's interface
# kind: dhcp
/interface bridge
add name=bridge1
/interface bridge port
add bridge=bridge1 interface=ether5
/ip address
add address=192.168.88.1/24 interface=bridge1
/ip pool
add name=dhcp ranges=192.168.88.10-192.168.88.254
/ip dhcp-server
add name=defconf interface=bridge1 address-pool=dhcp disabled=no
/ip dhcp-server lease
add address=192.168.88.20 mac-address=02:00:00:00:77:01 server=defconf
/ip firewall filter
add action=drop chain=forward in-interface=bridge1 src-address-list=suspended
#include NAT

## dhcp drop from LAN to WAN lists
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
# kind: dhcp
/interface bridge
add name=bridge1
/interface bridge port
add bridge=bridge1 interface=ether5
/ip address
add address=192.168.88.1/24 interface=bridge1
/ip pool
add name=dhcp ranges=192.168.88.10-192.168.88.254
/ip dhcp-server
add name=defconf interface=bridge1 address-pool=dhcp disabled=no
/ip dhcp-server lease
add address=192.168.88.20 mac-address=02:00:00:00:77:01 server=defconf
/interface list member
add list=LAN interface=bridge1
/ip firewall filter
add action=drop chain=forward in-interface-list=LAN out-interface-list=WAN src-address-list=suspended
#include NAT

## cgnat: drop list to out wan and accept internal
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall filter
add action=accept chain=forward dst-address=100.64.0.0/10
add action=accept chain=forward dst-address-list=RFC1918
add action=drop chain=forward src-address-list=suspended out-interface=ether1
/ip firewall address-list
add list=RFC1918 address=10.0.0.0/8
add list=RFC1918 address=172.16.0.0/12
add list=RFC1918 address=192.168.0.0/16
#include NAT

## two wans with PCC and drop by WAN list
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip address
add address=203.0.113.6/30 interface=ether3
/routing table
add name=to_isp2 fib
/ip route
add dst-address=0.0.0.0/0 gateway=203.0.113.5 routing-table=to_isp2
/interface list member
add list=WAN interface=ether3
/ip firewall filter
add action=drop chain=forward src-address-list=suspended out-interface-list=WAN
#include NAT

## two wans, drop toward the first
# leaks: second is open
# unseen: the lab takes the first member of WAN as the uplink
/ip address
add address=203.0.113.6/30 interface=ether3
/routing table
add name=to_isp2 fib
/ip route
add dst-address=0.0.0.0/0 gateway=203.0.113.5 routing-table=to_isp2
/ip firewall filter
add action=drop chain=forward src-address-list=suspended out-interface=ether1
#include NAT

## default route by dhcp-client
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip dhcp-client
add interface=ether1 disabled=no
/ip firewall filter
add action=drop chain=forward src-address-list=suspended out-interface-list=WAN
#include NAT

## drop not toward local servers list
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall filter
add action=drop chain=forward src-address-list=suspended dst-address-list=!local-servers
/ip firewall address-list
add list=local-servers address=198.51.100.0/28
add list=local-servers address=pay.example.com
#include NAT

## a messenger's networks accepted
# keeps: a garden of places; size named
/ip firewall filter
add action=accept chain=forward src-address-list=suspended dst-address-list=whatsapp
add action=drop chain=forward src-address-list=suspended
/ip firewall address-list
add list=whatsapp address=157.240.0.0/17
add list=whatsapp address=31.13.64.0/18
#include NAT

## ntp and dns accepted to anywhere
# leaks: UDP 123 to anywhere
/ip firewall filter
add action=accept chain=forward protocol=udp dst-port=53,123 src-address-list=suspended
add action=drop chain=forward src-address-list=suspended
#include NAT

## accept winbox to anywhere above
# leaks: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall filter
add action=accept chain=forward protocol=tcp dst-port=8291
add action=drop chain=forward src-address-list=suspended
#include NAT

## accept by content/layer7
# leaks: what it accepts is a place, DNS, or another interface's; all else is dropped
# unseen: no packet has it there
/ip firewall filter
add action=accept chain=forward content=pay.example.com src-address-list=suspended
add action=drop chain=forward src-address-list=suspended
#include NAT

## layer7 block only
# leaks: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall layer7-protocol
add name=web regexp="^.*(get|post)"
/ip firewall filter
add action=drop chain=forward layer7-protocol=web src-address-list=suspended
#include NAT

## drop src list and drop dst list
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall filter
add action=drop chain=forward src-address-list=suspended
add action=drop chain=forward dst-address-list=suspended
#include NAT

## only dst list drop
# leaks: uploads leave; one-way
/ip firewall filter
add action=drop chain=forward dst-address-list=suspended
#include NAT

## drop established too before stock, place-before=1
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall filter
add action=passthrough chain=forward comment="special dummy rule to show fasttrack counters"
add action=drop chain=forward src-address-list=suspended
#include STOCK

## v6 stock + drop appended
# keeps: flows cut
# version: 6.49.18
#include STOCK
/ip firewall filter
add action=drop chain=forward src-address-list=suspended

## interface list of customers jump
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/interface list
add name=CLIENTES
/interface list member
add list=CLIENTES interface=ether5
/ip firewall filter
add action=jump chain=forward in-interface-list=CLIENTES jump-target=clientes
add action=drop chain=clientes src-address-list=suspended
add action=accept chain=clientes out-interface-list=WAN
add action=drop chain=forward
#include NAT

## connlimit and virus chains first
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall filter
add action=drop chain=forward connection-limit=100,32 protocol=tcp
add action=drop chain=forward protocol=tcp dst-port=135-139,445
add action=add-src-to-address-list address-list=spammers address-list-timeout=1d chain=forward connection-limit=30,32 dst-port=25 protocol=tcp
add action=drop chain=forward dst-port=25 protocol=tcp src-address-list=spammers
add action=drop chain=forward src-address-list=suspended
#include NAT

## accept by DSCP
# leaks: dscp accept may let out
# unseen: no packet has it there
/ip firewall filter
add action=accept chain=forward dscp=46
add action=drop chain=forward src-address-list=suspended
#include NAT

## packet size accept above
# leaks: what it accepts is a place, DNS, or another interface's; all else is dropped
# unseen: no packet has it there
/ip firewall filter
add action=accept chain=forward packet-size=0-100
add action=drop chain=forward src-address-list=suspended
#include NAT

## drop by src-address-list of several
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall filter
add action=drop chain=forward src-address-list=!paid in-interface-list=LAN
add action=drop chain=forward src-address-list=suspended
#include NAT

## hotspot on the same router with dynamic rules
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall filter
add action=jump chain=forward hotspot=from-client,!auth jump-target=hs-unauth
add action=jump chain=forward hotspot=to-client,!auth jump-target=hs-unauth-to
add action=return chain=hs-unauth protocol=icmp
add action=return chain=hs-unauth dst-address=198.51.100.10 dst-port=80 protocol=tcp
add action=reject chain=hs-unauth protocol=tcp reject-with=tcp-reset
add action=reject chain=hs-unauth reject-with=icmp-net-prohibited
add action=return chain=hs-unauth-to protocol=icmp
add action=reject chain=hs-unauth-to
add action=drop chain=forward src-address-list=suspended
#include NAT

## accept of the servers' list
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall filter
add action=accept chain=forward src-address-list=servers
add action=drop chain=forward src-address-list=suspended
/ip firewall address-list
add list=servers address=198.51.100.0/24
#include NAT

## accept src range above incl. subscriber
# leaks: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall filter
add action=accept chain=forward src-address=192.0.2.0-192.0.2.127
add action=drop chain=forward src-address-list=suspended
#include NAT

## vpn users accept: in-interface=wireguard1
# keeps: other interface
/interface wireguard
add name=wireguard1
/ip firewall filter
add action=accept chain=forward in-interface=wireguard1
add action=drop chain=forward src-address-list=suspended
#include NAT

## accept out-interface of another vlan above
# keeps: vlan20 is no way out to internet
/interface vlan
add name=vlan20 interface=ether5 vlan-id=20
/ip firewall filter
add action=accept chain=forward out-interface=vlan20
add action=drop chain=forward src-address-list=suspended
#include NAT

## accept new from LAN above the drop
# leaks: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall filter
add action=accept chain=forward in-interface-list=LAN
add action=drop chain=forward src-address-list=suspended
#include NAT

## pool blackhole by address list of half
# leaks: what it accepts is a place, DNS, or another interface's; all else is dropped
# kind: ppp
# unseen: the session may be in the dropped half
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired
/ip firewall filter
add action=drop chain=forward src-address=10.5.51.0/25
#include NAT

## log then reject with icmp, different families
# keeps: what it accepts is a place, DNS, or another interface's; all else is dropped
/ip firewall filter
add action=log chain=forward src-address-list=suspended log-prefix=CUT
add action=reject chain=forward reject-with=icmp-network-unreachable src-address-list=suspended
#include NAT

## host on ether5 routed via ether6 too
# leaks: the /32 leads to ether6: the drop from ether5 holds nobody
# unseen: the lab's host stays on ether5
/ip address
add address=198.18.0.1/24 interface=ether6
/ip route
add dst-address=192.0.2.7/32 gateway=198.18.0.9
/ip firewall filter
add action=drop chain=forward in-interface=ether5 src-address-list=suspended

## backup route to the host, not active
# leaks: it may become active
# unseen: the the lab does not route by it
/ip firewall filter
add action=drop chain=forward in-interface=ether5 src-address-list=suspended
/ip route
add dst-address=192.0.2.7/32 gateway=gre1 disabled=no distance=200

## same network on two interfaces
# leaks: which one, nobody knows
# unseen: the lab takes the first
/ip address
add address=192.0.2.2/24 interface=ether6
/ip firewall filter
add action=drop chain=forward in-interface=ether5 src-address-list=suspended

## accept from all but another port
# leaks: ether5 is not ether3
/ip firewall filter
add action=accept chain=forward in-interface=!ether3
add action=drop chain=forward src-address-list=suspended

## list LAN excludes the port
# leaks: what is excluded is not in it
# unseen: the lab does not resolve includes
/interface list
add name=SOME include=LAN exclude=LAN
/ip firewall filter
add action=drop chain=forward in-interface-list=SOME src-address-list=suspended

## disabled member of LAN
# leaks: the port is in no list then
/interface list member
set [find interface=ether5] disabled=yes
/ip firewall filter
add action=drop chain=forward in-interface-list=LAN src-address-list=suspended

## mark-packet of tcp only
# leaks: udp is unmarked
/ip firewall mangle
add chain=prerouting action=mark-packet new-packet-mark=cut src-address-list=suspended protocol=tcp passthrough=no
/ip firewall filter
add chain=forward action=drop packet-mark=cut

## mark overwritten for queues in forward
# leaks: the second mark is the one that the filter sees
/ip firewall mangle
add chain=prerouting action=mark-packet new-packet-mark=cut src-address-list=suspended passthrough=yes
add chain=forward action=mark-packet new-packet-mark=clients passthrough=no
/ip firewall filter
add chain=forward action=drop packet-mark=cut

## mark of connections with no-mark, PCC first
# leaks: PCC marks first, then no-mark never matches
/ip firewall mangle
add chain=prerouting action=mark-connection in-interface=ether5 connection-mark=no-mark new-connection-mark=wan1 passthrough=yes
add chain=prerouting action=mark-connection connection-mark=no-mark src-address-list=suspended new-connection-mark=cut passthrough=yes
/ip firewall filter
add chain=forward action=drop connection-mark=cut

## mark connections by limit
# leaks: the first packets are unmarked
/ip firewall mangle
add chain=prerouting action=mark-connection src-address-list=suspended connection-bytes=1000000-0 new-connection-mark=cut passthrough=yes
/ip firewall filter
add chain=forward action=drop connection-mark=cut

## interface list with an accept for all-ppp above
# leaks: it comes by PPP
# kind: ppp
/interface list
add name=HELD
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired interface-list=HELD
/ip firewall filter
add action=accept chain=forward in-interface=all-ppp out-interface=ether1
add action=drop chain=forward in-interface-list=HELD

## interface list that PAYING includes
# leaks: the session is in both
# kind: ppp
# unseen: the lab does not resolve includes
/interface list
add name=HELD
add name=PAYING include=HELD
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired interface-list=HELD
/ip firewall filter
add action=accept chain=forward in-interface-list=PAYING
add action=drop chain=forward in-interface-list=HELD

## filter chain with an accept of web
# leaks: all of HTTPS
# kind: ppp
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired incoming-filter=held
/ip firewall filter
add action=jump chain=forward jump-target=ppp
add action=accept chain=held protocol=tcp dst-port=443
add action=drop chain=held

## filter chain reached for tcp only
# leaks: UDP never comes there
# kind: ppp
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired incoming-filter=held
/ip firewall filter
add action=jump chain=forward jump-target=ppp protocol=tcp
add action=drop chain=held

## filter chain below an accept
# leaks: no packet comes there
# kind: ppp
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired incoming-filter=held
/ip firewall filter
add action=accept chain=forward out-interface=ether1
add action=jump chain=forward jump-target=ppp
add action=drop chain=held

## filter chain beside hand-made rules in ppp
# leaks: accept by hand in ppp
# kind: ppp
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired incoming-filter=held
/ip firewall filter
add action=accept chain=ppp
add action=jump chain=forward jump-target=ppp
add action=drop chain=held

## outgoing filter only
# leaks: its own packets meet no rule
# kind: ppp
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired outgoing-filter=held
/ip firewall filter
add action=jump chain=forward jump-target=ppp
add action=drop chain=held

## list and filter chain: list not dropped, chain accepts
# leaks: the chain's accept is final
# kind: ppp
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired address-list=cut incoming-filter=held
/ip firewall filter
add action=jump chain=forward jump-target=ppp
add action=accept chain=held
add action=drop chain=forward src-address-list=cut

## filter chain with established accepted first
# keeps: all but DNS is dropped
# kind: ppp
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired incoming-filter=held
/ip firewall filter
add action=accept chain=forward connection-state=established,related
add action=jump chain=forward jump-target=ppp
add action=drop chain=held

## list, chain drops, no rule of the list
# keeps: all but DNS is dropped
# kind: ppp
/ppp profile
add name=suspended local-address=10.5.51.1 remote-address=expired address-list=cut incoming-filter=held
/ip firewall filter
add action=jump chain=forward jump-target=ppp
add action=drop chain=held

## vlan per customer area, drop from vlans list
# keeps: all but DNS is dropped
/interface vlan
add name=vlan100 interface=ether5 vlan-id=100
/ip address
set [find address=192.0.2.1/24] interface=vlan100
/interface list
add name=CLIENTS
/interface list member
add list=CLIENTS interface=vlan100
/ip firewall filter
add action=drop chain=forward in-interface-list=CLIENTS src-address-list=suspended

## mark-connection new then drop, stock below
# keeps: new ones are marked; those of before are cut
/ip firewall mangle
add chain=prerouting action=mark-connection connection-state=new src-address-list=suspended new-connection-mark=cut passthrough=yes
/ip firewall filter
add chain=forward action=drop connection-mark=cut
#include STOCK

## no-mark packets accepted, rest dropped
# leaks: UDP is unmarked
/ip firewall mangle
add chain=prerouting action=mark-packet new-packet-mark=cut src-address-list=suspended protocol=tcp passthrough=no
/ip firewall filter
add chain=forward action=accept packet-mark=no-mark
add chain=forward action=drop

## mark that is set in a chain of its own
# keeps: all but DNS is dropped
# refused: such chains of mangle are not followed
/ip firewall mangle
add chain=prerouting action=jump jump-target=sus src-address-list=suspended
add chain=sus action=mark-packet new-packet-mark=cut passthrough=no
/ip firewall filter
add chain=forward action=drop packet-mark=cut

## v6.49 list LAN->WAN
# keeps: all but DNS is dropped
# version: 6.49.18
/ip firewall filter
add action=drop chain=forward in-interface-list=LAN out-interface-list=WAN src-address-list=suspended

## 7.24 marks
# keeps: all but DNS is dropped
# version: 7.24
/ip firewall mangle
add chain=forward action=mark-packet new-packet-mark=cut src-address-list=suspended passthrough=no
/ip firewall filter
add chain=forward action=drop packet-mark=cut

## 6.49 marks
# keeps: all but DNS is dropped
# version: 6.49.18
/ip firewall mangle
add chain=forward action=mark-packet new-packet-mark=cut src-address-list=suspended passthrough=no
/ip firewall filter
add chain=forward action=drop packet-mark=cut

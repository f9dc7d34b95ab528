"""Scripts and their listings, one idea each.

The scripts are ours. Each shows a rule that recorded answers of RouterOS 7.22.1 follow; `test_recorded` compares those.
No router was asked about these very scripts.
"""

from __future__ import annotations

import pytest

from lab.router.errors import ScriptSyntaxError
from lab.router.script import parse


def listed(script: str) -> str:
    return parse(script.encode()).listing().decode("utf-8", "replace")


@pytest.mark.parametrize(
    ("script", "listing"),
    [
        # a command and its arguments, sorted by name
        (':put "hello"', "(evl /putmessage=hello)"),
        (":put [:len $x]", "(evl /putmessage=(evl (evl /lenvalue=$x)))"),
        (":pick $a 0 2", "(evl /pickbegin=0;counter=$a;end=2)"),
        (":for i from=1 to=3 do={:put $i}", "(evl /forcounter=$i;do=;(evl (evl /putmessage=$i));from=1;to=3)"),
        ("/ip/route/add gateway=ether1 dst-address=10.0.0.0/8",
         "(evl /ip/route/adddst-address=10.0.0.0/8;gateway=ether1)"),
        # abbreviations
        ("/sys clock get date", "(evl /system/clock/getvalue-name=date)"),
        ("/log warn x", "(evl /log/warningmessage=x)"),
        # an argument without a value repeats the last value
        ("/file print detail", "(evl /file/printdetail=true)"),
        ("/file get x contents as-string", "(evl /file/getas-string=contents;number=x;value-name=contents)"),
        # a menu stays, but not beyond its block
        ("/ip route\nprint", "/ip/route/;(evl /ip/route/print)"),
        ("{/ip route}\nprint", "(evl /ip/route/);(<%% bad command name print (line 2 column 1) print)"),
        ("/ip address {remove 0}", "(evl (evl /ip/address/removenumbers=0))"),
        ("/ip address\n.. route print", "/ip/address/;(evl /ip/route/print)"),
        # what is asked inside a command is asked in its menu
        ("/ip route remove [find]", "(evl /ip/route/removenumbers=(evl (evl /ip/route/find)))"),
        # empty statements are the menu they stand in
        ("", "/"), ("# x", "/"), (":put 1\n# x\n", "(evl /putmessage=1)"), (":put 1\n # x\n", "(evl /putmessage=1);/"),
        ("{\n:put 1\n}", "(evl / (evl /putmessage=1))"), ("{:put 1; }", "(evl (evl /putmessage=1) /)"),
        (":put 1;\n:put 2", "(evl /putmessage=1);(evl /putmessage=2)"),
        # calls
        ("$f 1 b=2 a=3", "(<%% $f (> $f);1;a=3;b=2)"),
        ("[$f 1]", "(<%% (<%% $f (> $f);1) )"),
        (":put 1\n[:len 2] x", "(<%% (evl (evl /putmessage=1);(evl /lenvalue=2)) x)"),
        ("nothing-known a b=yes c", "(<%% bad command name nothing-known (line 1 column 1) nothing-known;a;c;b=yes)"),
        # values
        (":put 1s", "(evl /putmessage=00:00:01)"), (":put 0xFF", "(evl /putmessage=255)"),
        (":put yes", "(evl /putmessage=true)"), (":put 1.1", "(evl /putmessage=1.0.0.1)"),
        (":put 99999999999999999999", "(evl /putmessage=9223372036854775807)"),
        (":delay 0.5", "(evl /delaydelay-time=00:00:00.500)"),
        ("/ip address add address=10.0.0.1/24", "(evl /ip/address/addaddress=10.0.0.1;24)"),
        ("/system logging add topics=lte,!raw", "(evl /system/logging/addtopics=;lte;true;raw)"),
        ("/ip firewall filter add in-interface-list=!LAN chain=input",
         "(evl /ip/firewall/filter/addchain=input;in-interface-list=true;LAN)"),
        (":execute {:put 1}", "(evl /executescript=:put 1)"),
        (":put {b=1;a=2;3}", "(evl /putmessage=3;a=2;b=1)"), (":put ({})", "(evl /putmessage=)"),
        ('$f ({a="x"\n b="y"})', "(<%% $f (> $f);a=x;b=y)"),
        # texts
        (r':put "a\n$b $(1+2) $[:len 3]"', "(evl /putmessage=(. a \n $b   (+ 1 2)   (evl (evl /lenvalue=3))))"),
        (':put "a$x_y"', "(evl /putmessage=(. a $x _y))"), (r':put "\C3\B1"', "(evl /putmessage=(. \ufffd \ufffd))"),
        (':put "a\\\n   b"', "(evl /putmessage=(. a b))"),
        # operators
        (":put (1 + 2 + 3)", "(evl /putmessage=(+ 1 2 3))"), (":put (9-2-3)", "(evl /putmessage=(- (- 9 2) 3))"),
        (":put ($a->0->1)", "(evl /putmessage=(-> (-> $a 0) 1))"),
        (":put (!$a && $b=2)", "(evl /putmessage=(and (! $a) (= $b 2)))"),
        (':put ("a".("b"."c"))', "(evl /putmessage=(. a b c))"), (":put (5 * -1)", "(evl /putmessage=(* 5 (- 1)))"),
        (":put ($f <%% $g <%% {1})", "(evl /putmessage=(<%% $f (<%% $g 1)))"),
        (":put (>[])", "(evl /putmessage=(> (evl /)))"),
    ],
)  # fmt: skip
def test_listing(script, listing):
    assert listed(script) == listing


def test_conditions():
    found = listed('/ip address find where interface=ether1 !disabled and address~"^10"')
    assert found.startswith("(evl /ip/address/findwhere=$address;$network;")
    assert found.endswith(";$.about;(  (= $interface ether1) (and (! $disabled) (~ $address ^10)));5)")
    assert listed("/ip address find where (address in 10.0.0.0/8)").endswith("(in $address 10.0.0.0/8);5)")


@pytest.mark.parametrize(
    ("script", "refusal"),
    [
        (":put )", "expected end of command (line 1 column 6)"),
        (":put (1 + )", "syntax error (line 1 column 8)"),
        (":put ($a->)", "syntax error (line 1 column 11)"),
        ("Hello", "expected command name (line 1 column 1)"),
        ("/ip route >", "expected command name (line 1 column 11)"),
        ("\n\n{:put 1", "missing closing brace (line 3 column 8)"),
        (":if (1) do={:put 1\n", "expected closing brace (line 2 column 1)"),
        ("/ip route find where", "missing value for where (line 1 column 21)"),
        (":set x 1", "syntax error (line 1 column 6)"),
        (":local $x 1", "syntax error (line 1 column 8)"),
        ("/ip address add disabled=maybe", "syntax error (line 1 column 26)"),
        ("/ip address add nothing=1", "expected end of command (line 1 column 17)"),
        ("/ip address set a nothing=1", "expected end of command (line 1 column 19)"),
        ("/ip address set nothing=1", "expected end of command (line 1 column 24)"),
        ("a b {", "syntax error (line 1 column 5)"),
        ("a =b", "syntax error (line 1 column 3)"),
        ("\t\ta:", "syntax error (line 1 column 17)"),
        (':put "a', "syntax error (line 1 column 8)"),
        (':put "$ "', "syntax error (line 1 column 8)"),
        (r':put "\x"', "syntax error (line 1 column 8)"),
    ],
)
def test_refusal(script, refusal):
    with pytest.raises(ScriptSyntaxError) as refused:
        parse(script.encode())
    assert str(refused.value) == refusal
    text, _, place = refusal.partition(" (line ")
    assert (refused.value.text, f"{refused.value.line} column {refused.value.column})") == (text, place)


def test_what_set_can_name():
    assert listed(":local x 1\n:set x 2").endswith("(evl /setname=$x;value=2)")
    assert listed("$f a=$x\n:set x 2").endswith("(evl /setname=$x;value=2)")
    assert listed(":set $x 2") == "(evl /setname=$x;value=2)"
    with pytest.raises(ScriptSyntaxError):
        parse(b"{:local x 1}\n:set x 2")
    with pytest.raises(ScriptSyntaxError):
        parse(b":if ($x=1) do={:set x 2}")


def test_nothing_is_read_behind_a_brace_that_closes_nothing():
    assert listed(':put 1\n} ) " whatever') == "(evl /putmessage=1)"


def test_versions_have_their_own_trees():
    assert b"bad command name" in parse(b"/app print", "7.22.1").listing()
    assert b"bad command name" in parse(b":break", "7.20.8").listing()
    assert parse(b":break", "7.24").listing() == b"(evl /break)"

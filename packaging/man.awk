# packaging/PROGRAM/manual, then docs/cli.md -> the man page of one program, in groff's man macros.
# Only what tests/repo/cli_reference.py writes is understood: headings, paragraphs, lists, indented lines and tables.

function plain(text) { # what the macros would take for a command of theirs
	gsub(/\\/, "\\e", text)
	gsub(/-/, "\\-", text)
	if (text ~ /^[.']/) text = "\\\\&" text
	return text
}
function marked(text,    done) { # Markdown inside of a line
	gsub(/\\\|/, "|", text)
	text = plain(text)
	while (match(text, /\[[^]]*\]\([^)]*\)/)) {
		done = substr(text, RSTART + 1, RLENGTH - 1)
		sub(/\]\(.*/, "", done)
		text = substr(text, 1, RSTART - 1) done substr(text, RSTART + RLENGTH)
	}
	while (match(text, /`[^`]+`/))
		text = substr(text, 1, RSTART - 1) "\\fB" substr(text, RSTART + 1, RLENGTH - 2) "\\fR" substr(text, RSTART + RLENGTH)
	while (match(text, /\*\*[^*]+\*\*/))
		text = substr(text, 1, RSTART - 1) "\\fB" substr(text, RSTART + 2, RLENGTH - 4) "\\fR" substr(text, RSTART + RLENGTH)
	return text
}
function flush() {
	if (paragraph != "") print kind "\n" marked(paragraph)
	paragraph = ""
	kind = ".PP"
}
function literal(on) {
	if (on == verbatim) return
	print on ? ".PP\n.RS 4\n.nf" : ".fi\n.RE"
	verbatim = on
}
function rest_of_manual(    i) {
	for (i = 1; i <= later; i++) print kept[i]
}

BEGIN {
	kind = ".PP"
	printf ".TH %s 1 \"%s\" \"%s %s\" \"ISPAgents\"\n", toupper(program), date, program, version
	printf ".SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B %s\n.I COMMAND\n[options]\n.SH DESCRIPTION\n", program, plain(about), program
}

# --- the manual: description, then sections of "term TAB text" that come last
FNR == NR {
	if ($0 ~ /^[A-Z ]+$/) {
		flush()
		section = 1
		kept[++later] = ".SH \"" $0 "\""
	} else if (section && index($0, "\t")) {
		kept[++later] = ".TP\n\\fB" plain(substr($0, 1, index($0, "\t") - 1)) "\\fR\n" plain(substr($0, index($0, "\t") + 1))
	} else if (section && $0 != "") {
		kept[++later] = plain($0)
	} else if ($0 == "") flush()
	else paragraph = paragraph (paragraph == "" ? "" : " ") $0
	next
}

# --- docs/cli.md
FNR == 1 { flush(); part = "head"; next }
/^# `/ {
	flush(); literal(0)
	part = $0 == "# `" program "`" ? "commands" : "other"
	if (part == "commands") print ".SH COMMANDS"
	next
}
part == "other" { next }
/^## / {
	flush(); literal(0)
	if ($0 == "## Both") { print ".SH \"ALL COMMANDS\""; next }
	sub(/^## /, "")
	print ".SS " marked($0)
	next
}
/^    / { # a command line, or an example
	flush(); literal(1)
	print plain(substr($0, 5))
	next
}
/^ *$/ { flush(); next }
{ literal(0) }
/^\|---/ { next }
/^\| exit code / { flush(); print ".SH \"EXIT STATUS\""; next }
/^\| what / { flush(); next }
/^\|/ {
	flush()
	line = $0
	gsub(/\\\|/, "\001", line)
	n = split(line, cell, "|")
	for (i = 1; i <= n; i++) { gsub(/^ +| +$/, "", cell[i]); gsub(/\001/, "|", cell[i]) }
	text = cell[n - 1]
	if (n == 5 && cell[3] != "") text = text " (" cell[3] ")"
	print ".TP\n" (cell[2] ~ /^`/ ? marked(cell[2]) : "\\fB" plain(cell[2]) "\\fR") "\n" marked(text == "" ? " " : text)
	next
}
/^- / { flush(); kind = ".IP \\(bu 2"; paragraph = substr($0, 3); next }
part == "head" { sub(/^Written from the code by .*; a test compares\. /, "") }
{ sub(/^ +/, ""); paragraph = paragraph (paragraph == "" ? "" : " ") $0 }
END { flush(); literal(0); rest_of_manual() }

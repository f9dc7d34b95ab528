# METADATA of a library -> its paragraph in debian/copyright.
/^$/ || /^\r$/ { exit } # the description begins
{ sub(/\r$/, "") }
/^Name: / { name = substr($0, 7) }
/^License-Expression: / { license = substr($0, 21) }
/^License: / && substr($0, 10) != "UNKNOWN" { plain = substr($0, 10) }
/^Classifier: License :: / { n = split($0, part, " :: "); classified = part[n] }
/^Author: / || /^Author-email: / || /^Author-Email: / || /^Maintainer-email: / { if (author == "") { author = $0; sub(/^[^:]*: /, "", author) } }
END {
	if (license == "") license = plain != "" && length(plain) < 60 ? plain : classified
	if (license == "") license = "its-own" # some wheels bring the text and no word for it
	gsub(/[^A-Za-z0-9.+-]+/, "-", license)
	printf "\nFiles: %s/%s/*\nCopyright: %s\nLicense: %s\n The whole notice: /%s/%s\n", code, folder, author == "" ? "its authors" : author, \
		"of-" tolower(name) "-" license, code, folder
}

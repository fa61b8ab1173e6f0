#!/usr/bin/env bash
# The site: made twice it has the same bytes; every link in it leads to a file of it; nothing comes from elsewhere.
set -u
cd "$(dirname "$0")/../.." || exit 1
if ! command -v cmark-gfm >/dev/null; then
    echo "1..0 # SKIP cmark-gfm is not installed"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0
report() { # report STATUS NAME
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
}

tools/make-site "$work/a" && tools/make-site "$work/b"
report $? 'the site is made; every link of the documents resolves'
diff -r "$work/a" "$work/b"
report $? 'the same tree gives the same bytes'

touch -d '2020-01-01' "$work/a/index.html"
echo old >"$work/a/gone.html"
tools/make-site "$work/a"
[ "$(stat -c %Y "$work/a/index.html")" = "$(date -d 2020-01-01 +%s)" ] && [ ! -e "$work/a/gone.html" ]
report $? 'what did not change is not written, what is no longer made is removed'

mkdir "$work/c"
echo precious >"$work/c/note.txt"
! tools/make-site "$work/c" 2>/dev/null && [ "$(cat "$work/c/note.txt")" = precious ]
report $? 'a folder with files of others is refused and left alone'

broken=0
while IFS=: read -r file link; do
    target=${link%%#*}
    case $link in
    https:* | http:* | mailto:*) continue ;;
    /*) path=$work/a$target ;;
    '#'*) path=$file ;;
    *) path=$(dirname "$file")/$target ;;
    esac
    [ -f "$path" ] || { echo "# $file: $link"; broken=1; }
done < <(grep -roPH '(href|src)="\K[^"]+' "$work/a" --include='*.html')
report $broken 'every link and picture of the pages is there'

! grep -rnE '(src|<link[^>]*href)="(https?:)?//|<script|@import|url\([^#]' "$work/a"
report $? 'no page needs anything from another host'
echo "1..$n"

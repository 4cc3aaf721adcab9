echo "starting with code that is broken on purpose"
sleep "${CRASH_AFTER_SECONDS:-0}"
echo "fatal: cannot go on" >&2
exit 42

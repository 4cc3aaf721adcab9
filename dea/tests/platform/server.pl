# The app of the dea's own tests: a tiny HTTP server that does as it is told by path and environment.
use strict;
use warnings;
use IO::Select;
use IO::Socket::INET;
$| = 1;
$SIG{PIPE} = 'IGNORE';
$SIG{TERM} = $ENV{IGNORE_TERM} ? 'IGNORE' : sub { print "got TERM\n"; exit 0 };
exit $ENV{EXIT_AT_START} if defined $ENV{EXIT_AT_START};
sleep 1000 if $ENV{NEVER_LISTEN};
select undef, undef, undef, $ENV{LISTEN_AFTER} if $ENV{LISTEN_AFTER};
my $server = IO::Socket::INET->new(LocalAddr => '0.0.0.0', LocalPort => $ENV{PORT}, Listen => 64, ReuseAddr => 1)
    or die "cannot listen: $!";
print "listening on $ENV{PORT}\n";
print STDERR "a word on stderr\n";
my $ready = IO::Select->new($server);
my $count = 0;
while (1) {
    print 'count ', $count++, "\n" if $ENV{COUNT};
    $ready->can_read($ENV{COUNT} ? 0.02 : undef) or next;
    my $client = $server->accept or next;
    my $line = <$client> // '';
    my ($path) = $line =~ m{^GET /(\S*)};
    while (my $header = <$client>) { last if $header =~ /^\r?$/ }
    my $body = "hello from $ENV{CF_INSTANCE_INDEX}";
    $path //= '';
    if ($path =~ m{^env/(\w+)}) { $body = $ENV{$1} // '(unset)' }
    elsif ($path =~ m{^exit/(\d+)}) { exit $1 }
    elsif ($path eq 'eat') { my @all; while (1) { push @all, 'x' x 1_000_000 } }
    elsif ($path eq 'fill') { open my $f, '>', 'filling'; while (1) { print $f 'x' x 1_000_000 } }
    elsif ($path eq 'flood') { print "flood $_\n" for 1 .. 20_000 }
    elsif ($path eq 'cwd') { require Cwd; $body = Cwd::getcwd() . ' ' . sprintf('%04o', umask) . ' ' . getppid() }
    elsif ($path eq 'write') { open my $f, '>', 'written'; $body = print($f 'x') ? 'ok' : "failed: $!" }
    elsif ($path eq 'look') { $body = -e 'written' ? 'there' : 'not there' }
    elsif ($path eq 'chmod') { $body = chmod(0600, 'server.pl') ? 'ok' : "failed: $!" }
    print $client "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: ", length $body, "\r\n\r\n", $body;
}

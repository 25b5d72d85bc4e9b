from clock import garbage

garbage.look_seldom()  # before the imports below, which are most of a start

from clock.cli.main import main  # noqa: E402

main()

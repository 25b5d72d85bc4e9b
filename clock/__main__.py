from clock.cli import main

main()

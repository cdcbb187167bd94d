from hierfl.cli import main

main()

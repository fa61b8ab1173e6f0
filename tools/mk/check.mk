# Checks of the source tree.

SOURCES := $(shell git ls-files -co --exclude-standard '*.c' '*.h' 2>/dev/null)

.PHONY: format format-check tidy layers symbols source-check docs-check compdb hooks
format: ## Format the files that changed
	@clang-format-14 -i $$(git diff --name-only --diff-filter=d HEAD -- '*.c' '*.h'; git ls-files -o --exclude-standard '*.c' '*.h')

format-check: ## Say which files are not formatted
	@clang-format-14 --dry-run -Werror $(SOURCES)

TIDY_FILES = $(or $(FILES),$(filter lib/%.c dev/%.c target/%.c cmd/%.c,$(SOURCES)))
tidy: ## clang-tidy over lib/, dev/, target/, cmd/ (FILES=... for some); a minute or two
	@printf '%s\n' $(filter-out target/virt/aarch64/%,$(TIDY_FILES)) | xargs -r -P $$(nproc) -n 4 sh -c \
	  'clang-tidy-14 --quiet "$$@" -- $(CPPFLAGS_ALL) -std=gnu11 -fno-builtin 2>/dev/null' tidy
	@printf '%s\n' $(filter target/virt/aarch64/%,$(TIDY_FILES)) | xargs -r -P $$(nproc) -n 4 sh -c \
	  'clang-tidy-14 --quiet "$$@" -- --target=aarch64-linux-gnu -ffreestanding $(CPPFLAGS_ALL) -std=gnu11 -fno-builtin 2>/dev/null' tidy

layers: ## Includes flow one way: include <- lib <- dev <- target
	@tools/check-layers

symbols: lib ## Every external symbol begins with mir_; lib/ needs only what a target gives
	@tools/check-symbols $(LIBS_host)

source-check: ## First lines, length, no unsafe functions
	@tools/check-source

docs-check: ## Public functions have Returns and Source; links in docs resolve
	@tools/check-docs

.PHONY: rfc-coverage
rfc-coverage: ## Make docs/rfc-coverage.md from the RFC sections that lib/ and include/ name
	@tools/rfc-coverage > docs/rfc-coverage.md.new && mv docs/rfc-coverage.md.new docs/rfc-coverage.md

compdb: ## compile_commands.json of the host variant
	@rm -rf $(B)/compdb && bear -- $(MAKE) B=$(B)/compdb lib tool test-bins

hooks: ## Use the git hooks of this tree
	@git config core.hooksPath tools/git-hooks
